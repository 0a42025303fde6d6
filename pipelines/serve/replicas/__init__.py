"""The Ray Serve application: the ingress, the replicas that hold models, and their assembly."""
