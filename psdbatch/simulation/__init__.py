"""Physically modelled signals, with the truth beside them."""
