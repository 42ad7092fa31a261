"""Property tests here include kernels that compile on their first call, so examples have no deadline."""

from hypothesis import settings

settings.register_profile("model", deadline=None)
settings.load_profile("model")
