"""Labelled raw signals for a network: drawn from many sources, stratified, shuffled, written once."""
