"""What every ``ChangeQueue`` does: one test per sentence of the port."""

from __future__ import annotations

from abc import abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from dicomulus.dicom.resource import SeriesResource
from dicomulus.ports import CompactSeries, LookAtObjects, StabiliseSeries
from tests.support.builders import series_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomulus.ports import ChangeQueue, Message


class ChangeQueueContract:
    """Inherited by a class that gives an empty queue and says how its receiver sees it."""

    @pytest.fixture
    def queue(self) -> Iterator[ChangeQueue]:
        raise NotImplementedError

    @abstractmethod
    def receive(self, queue: ChangeQueue, *, after_seconds: float = 0) -> list[Message]:
        """Give all messages visible after a time, read as the consumer reads them, once each."""

    @pytest.mark.parametrize(
        "message",
        [
            LookAtObjects(("a/1",)),
            LookAtObjects(("Müller+1 2%25.dcm", "\u65e5\u672c/\U0001f642", 'a"b\\c', "<&>\x7f")),
            CompactSeries(series_of()),
            CompactSeries(SeriesResource("1#2", "ÄÖ/%41")),
            StabiliseSeries(series_of()),
            StabiliseSeries(SeriesResource("1#2", "ÄÖ/%41"), 1_800_000_000_000),
        ],
    )
    def test_a_message_arrives_as_it_was_sent(self, queue: ChangeQueue, message: Message) -> None:
        queue.send([message])
        assert self.receive(queue) == [message]

    def test_many_messages_of_all_kinds_all_arrive(self, queue: ChangeQueue) -> None:
        sent: list[Message] = [LookAtObjects((f"a/{i}",)) for i in range(23)]
        sent += [CompactSeries(series_of(series=i)) for i in range(12)]
        sent += [StabiliseSeries(series_of(series=i), i) for i in range(12)]
        queue.send(sent)
        assert set(self.receive(queue)) == set(sent)

    def test_many_long_keys_all_arrive(self, queue: ChangeQueue) -> None:
        messages = [
            LookAtObjects(tuple(f"{m}/{i}/" + "ü" * 500 for i in range(60))) for m in range(12)
        ]
        queue.send(messages)
        assert keys_of(self.receive(queue)) == keys_of(messages)

    def test_no_message_is_no_error(self, queue: ChangeQueue) -> None:
        queue.send([])
        assert self.receive(queue) == []

    @pytest.mark.parametrize("message", [LookAtObjects(("a",)), CompactSeries(series_of())])
    def test_a_delayed_message_is_visible_only_after_its_delay(
        self, queue: ChangeQueue, message: Message
    ) -> None:
        queue.send([message], delay_seconds=900)
        assert self.receive(queue) == []
        assert self.receive(queue, after_seconds=901) == [message]

    def test_messages_sent_at_the_same_time_all_arrive(self, queue: ChangeQueue) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda i: queue.send([LookAtObjects((f"a/{i}",))]), range(20)))
        assert keys_of(self.receive(queue)) == {f"a/{i}" for i in range(20)}


def keys_of(messages: list[Message] | list[LookAtObjects]) -> set[str]:
    return {key for each in messages if isinstance(each, LookAtObjects) for key in each.object_keys}
