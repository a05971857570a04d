"""Files of footage: their names, and which stay."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cctv_support.parts import footage

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC))


@given(MOMENTS, MOMENTS)
def test_names_tell_the_time_and_are_in_its_order(first: datetime, second: datetime) -> None:
    names = [footage.name_of(moment) for moment in (first, second)]
    begins = [footage.begin_of(Path(name)) for name in names]
    for moment, begin in zip((first, second), begins, strict=True):
        assert timedelta(0) <= moment - begin < timedelta(milliseconds=1)
    if begins[0] < begins[1]:
        assert names[0] < names[1]


def test_names_are_of_universal_time() -> None:
    moment = datetime(2026, 7, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert footage.name_of(moment) == "20260630T233000.000Z.mp4"


def test_oldest_files_go_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    names = [footage.name_of(begin + timedelta(minutes=i)) for i in range(5)]
    for name in [*names, "holiday.mp4", "notes.txt"]:
        (tmp_path / name).touch()
    assert footage.prune(tmp_path, 2) == 3
    assert [file.name for file in footage.files_in(tmp_path)] == names[3:]
    assert {"holiday.mp4", "notes.txt"} <= {file.name for file in tmp_path.iterdir()}
    assert footage.prune(tmp_path, 2) == 0


def test_other_names_are_refused() -> None:
    for name in ("20260630T233000.000Z.txt", "holiday.mp4"):
        with pytest.raises(ValueError, match=name.split(".")[0]):
            footage.begin_of(Path(name))
