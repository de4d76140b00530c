"""The same answer everywhere: a golden batch of real signals, its reference answers, and the limits of agreement."""
