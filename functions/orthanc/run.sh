#!/bin/sh
# What the Lambda Web Adapter starts; only the runtime's own loop would look into the layers.
PYTHONPATH=/opt/python exec python "$LAMBDA_TASK_ROOT/handler.py"
