"""The agent on Telegram: a surface of the core, and the application that feeds it. Nothing here decides what is done.

`words` and `door` say who speaks and what was said, `pace` and `surface` how it is answered, `post` joins them.
"""

import os

os.environ.setdefault("PTB_TIMEDELTA", "true")  # times as timedelta, as its next version has them alone
