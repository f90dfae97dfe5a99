"""A package of two modules: pipelines built in one, continued and nested in the other."""
