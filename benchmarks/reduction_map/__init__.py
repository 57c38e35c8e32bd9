"""What `benchmarks/pareto.py` is made of."""
