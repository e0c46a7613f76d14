"""Measurements: ratios against baselines, taken in one run, because machines are noisy. `make bench` runs them."""
