"""For other people's tests: simulations, scripts and checkers that need no cluster."""

__all__: list[str] = []
