"""Tasks as Jobs of a Kubernetes cluster: what is created (manifest), how it is (status), and the server (api)."""
