"""Which slots of a ring are in use: pure reference counting, no memory in sight.

A slot is held by who writes it, by blocks that wait for a consumer, and by consumers that were
shown it. Only the last cannot be taken back: it may be read at this moment. So a provider that
must not wait for anybody keeps some slots from the hands of each consumer, see `may_show`.

The next block goes into the first free slot after the last one, so that what was written stays
readable for about one lap.
"""


class SlotTable:
    """How often each slot is held, and how often of that by consumers."""

    def __init__(self, slots: int) -> None:
        self._references = [0] * slots
        self._shown = [0] * slots
        self._last = -1
        self.spare = slots
        """Slots that no consumer has in its hands."""

    def __len__(self) -> int:
        return len(self._references)

    @property
    def held(self) -> int:
        """How many slots somebody holds."""
        return len(self._references) - self._references.count(0)

    def take(self) -> int | None:
        """The slot for the next block, held once from now on; None: all are held."""
        references, slot = self._references, self._last
        count = len(references)
        for _ in range(count):
            slot = slot + 1 if slot + 1 < count else 0
            if not references[slot]:
                self._last = slot
                references[slot] = 1
                return slot
        return None

    def hold(self, slot: int) -> None:
        """Once more."""
        self._references[slot] += 1

    def release(self, slot: int) -> None:
        """Once less."""
        assert self._references[slot] > 0, slot
        self._references[slot] -= 1

    def show(self, slot: int) -> None:
        """A consumer has it, once more."""
        self._references[slot] += 1
        if not self._shown[slot]:
            self.spare -= 1
        self._shown[slot] += 1

    def give_back(self, slot: int) -> None:
        """A consumer has it once less."""
        self._shown[slot] -= 1
        if not self._shown[slot]:
            self.spare += 1
        self.release(slot)

    def spare_after(self, slot: int) -> int:
        """What will be spare when one more consumer has that slot."""
        return self.spare if self._shown[slot] else self.spare - 1

    def may_show(self, slot: int, has: int) -> bool:
        """Whether a consumer that has so many may have that one, and leave enough to the others.

        It may have as many as are spare then, whoever came first: one that gives nothing back ends
        up with half of the ring, the next with half of the rest. One is always left to write to.

        Source: the rule is that of dynamic thresholds for shared buffers (Choudhury and Hahne,
            IEEE/ACM Transactions on Networking 6, 1998).
        """
        return has < self.spare_after(slot)
