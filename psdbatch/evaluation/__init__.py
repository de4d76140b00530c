"""How good a network is: numbers, plots and a report, on signals whose truth is known."""
