"""What every test runs under."""

import os

# Models in tests are tiny: a second thread costs them more than it brings, and other processes' threads cost far more.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
