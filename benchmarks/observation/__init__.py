"""The parts of `benchmarks/observation_models.py`."""
