"""HTTP infrastructure: request context, hooks, responses, authentication, rates and metrics."""
