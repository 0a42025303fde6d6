"""What runs in Ray Serve: the ingress, the replicas that hold models, and how they are built."""
