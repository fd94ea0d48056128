"""The routes, each a plain function from request to response."""
