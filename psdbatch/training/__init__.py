"""Training of networks, on one process or several that hold one network together."""
