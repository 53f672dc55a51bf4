"""The log lines that clients can cause."""

import logging

from hematovision.server.running import Throttle, throttled


def test_repeated_messages_are_logged_a_few_times_and_counted(caplog):
    logger = logging.getLogger("asyncio")
    with throttled():
        for i in range(1000):
            logger.error("socket.accept() out of system resource\nsocket: %d", i)
        logger.error("another")
    assert [record.getMessage()[:6] for record in caplog.records] == ["socket"] * 5 + ["anothe"]
    logger.error("socket.accept() out of system resource\nsocket: %d", 1)
    assert len(caplog.records) == 7


def test_a_later_message_includes_the_number_left_out():
    throttle = Throttle(most=1, seconds=10)

    def passed(created: float) -> logging.LogRecord | None:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "bad %s", ("thing",), None)
        record.created = created
        return record if throttle.filter(record) else None

    assert passed(0).getMessage() == "bad thing"
    assert [passed(1), passed(9.9)] == [None, None]
    assert passed(10).getMessage() == "bad thing (2 more like this left out)"
    assert passed(11) is None
    assert passed(30).getMessage() == "bad thing (1 more like this left out)"
    assert passed(50).getMessage() == "bad thing"


def test_the_number_of_remembered_messages_is_limited():
    throttle = Throttle()
    for i in range(5000):
        throttle.filter(logging.LogRecord("x", logging.ERROR, "", 0, f"bad {i}", (), None))
    assert len(throttle._counts) <= 1001
