"""BFD (RFC 5880) beside the BGP speaker: a process that keeps time, and its supervisor in the agent."""
