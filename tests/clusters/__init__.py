"""Tests against real engines, started by the scripts of this folder."""
