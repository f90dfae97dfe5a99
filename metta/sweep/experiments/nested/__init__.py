"""Trials that are experiments themselves, and the sweeps over sweeps that are made of them."""
