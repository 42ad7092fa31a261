"""The main job, end to end: a virtual lab on UDP, received and recorded by the host, compared with the model, reported."""
