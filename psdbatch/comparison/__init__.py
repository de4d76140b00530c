"""Two answers to the same signals: where they agree, and which signals changed class."""
