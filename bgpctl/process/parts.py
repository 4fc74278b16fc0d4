"""
The end of a process one of whose parts has failed.

Parts are threads, and a thread that ends by a defect ends alone and silently: the others would go on without it, for
instance without ever reading the cluster file again. So the process ends, with the name of the part and the traceback
in its log, and is started again by the program that runs it. Forwarding and BGP sessions are not in it, and stay.

Refuses to know: what the parts do.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
from typing import NoReturn

log = logging.getLogger("bgpctl.agent")


def end_together(code: int) -> None:
    """
    From now on an exception that no part has caught ends the process with this exit code; what a part was doing when
    the interpreter itself crashed is written to stderr.
    """
    if sys.__stderr__ is not None:  # None where it was closed before we began
        faulthandler.enable(sys.__stderr__)

    def end(part: str, error: BaseException | None) -> NoReturn:
        log.critical("the agent's part %s failed, so the agent ends", part, exc_info=error)
        os._exit(code)

    def thread_failed(failed: threading.ExceptHookArgs) -> None:
        if failed.exc_type is not SystemExit:
            end(failed.thread.name if failed.thread else "unknown", failed.exc_value)

    def main_failed(_kind: object, error: BaseException, _traceback: object) -> None:
        end("loop", error)

    threading.excepthook = thread_failed
    sys.excepthook = main_failed
