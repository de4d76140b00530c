"""Networks: loading, preparation, inference, freezing."""
