"""Acquisition files in, signals out."""
