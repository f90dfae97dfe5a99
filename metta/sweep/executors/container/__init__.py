"""Tasks in containers: Docker, and Podman by its Docker-compatible service."""
