"""Networks by name, what they are trained for, and what they see: examples with augmentation and preparation."""
