"""The program that the page tests, and sample rows for it."""

import shutil

from tests.docs.blocks import ROOT
from tests.support.orders import late_orders

shutil.copyfile(ROOT / "tests" / "testing" / "programs" / "shop.py", "shop.py")
orders = late_orders()
