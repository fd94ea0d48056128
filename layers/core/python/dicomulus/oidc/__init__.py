"""Bearer tokens of an OpenID provider: whether they count, and what they are for."""
