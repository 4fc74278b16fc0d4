"""The addresses of this node's workloads: who has which, and which is given next. Values only."""
