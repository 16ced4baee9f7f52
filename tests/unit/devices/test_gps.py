"""NMEA sentences and gpsd's reports into fixes."""

import datetime
import json

import pytest

from edgeml.devices import GPS, Fix
from edgeml.devices._drops import Drops
from edgeml.devices._gps import GpsdParser
from edgeml.devices._nmea import NmeaParser
from edgeml.errors import DeviceNotFound

pytest.importorskip("pynmea2", reason="pynmea2 is not installed")
pytest.importorskip("serial", reason="pyserial is not installed")


def sentence(body):
    checksum = 0
    for character in body:
        checksum ^= ord(character)
    return f"${body}*{checksum:02X}\r\n".encode()


def rmc(time, status="A"):
    where = "4807.038,N,01131.000,E,022.4,084.4" if status == "A" else ",,,,,"
    return sentence(f"GPRMC,{time},{status},{where},230394,,")


def gga(time, quality=1):
    where = "4807.038,N,01131.000,E" if quality else ",,,"
    return sentence(f"GPGGA,{time},{where},{quality},08,0.9,545.4,M,46.9,M,,")


def parse(*lines):
    parser, drops = NmeaParser(Drops("gps")), Drops("gps")
    parser._drops = drops
    return [fix for line in lines if (fix := parser.feed(line))], drops.counts


def test_rmc_and_gga_of_one_time_are_one_fix():
    fixes, dropped = parse(
        rmc("123519"), gga("123519"), sentence("GPGSA,A,3,04,05,,,,,,,,,,,2.5,1.3,2.1"),
        gga("123520"), rmc("123520"),
    )  # fmt: skip
    assert len(fixes) == 2
    assert fixes[0] == Fix(
        mode="3d",
        lat=pytest.approx(48.1173),
        lon=pytest.approx(11.516667),
        alt=545.4,
        speed=pytest.approx(11.5236, abs=1e-3),
        course=84.4,
        time=datetime.datetime(1994, 3, 23, 12, 35, 19, tzinfo=datetime.UTC),
        satellites=8,
    )
    assert fixes[1].time.second == 20
    assert dropped == {}


def test_a_receiver_that_sends_only_one_kind_is_one_moment_behind():
    fixes, _ = parse(*(gga(f"12351{i}") for i in range(4)))
    assert [fix.alt for fix in fixes] == [545.4] * 3
    fixes, _ = parse(*(rmc(f"12351{i}") for i in range(4)))
    assert [(fix.mode, fix.time.second) for fix in fixes] == [("2d", 10), ("2d", 11), ("2d", 12)]


def test_two_dimensions():
    fixes, _ = parse(
        sentence("GPGSA,A,2,04,05,,,,,,,,,,,2.5,1.3,2.1"), rmc("123519"), gga("123519")
    )
    assert fixes[0].mode == "2d"


def test_no_position_is_a_fix_of_mode_none():
    fixes, _ = parse(rmc("123519", "V"), gga("123519", 0), rmc("", "V"), gga("", 0), rmc("1", "V"))
    assert [(fix.mode, fix.lat, fix.lon) for fix in fixes] == [("none", None, None)] * 2


def test_a_second_talker_does_not_double_the_fix():
    other = rmc("123519").replace(b"GPRMC", b"GNRMC")
    other = sentence(other[1 : other.index(b"*")].decode())
    fixes, _ = parse(rmc("123519"), gga("123519"), other, rmc("123520"), gga("123520"))
    assert [fix.time.second for fix in fixes] == [19, 20]


@pytest.mark.parametrize(
    "line",
    [
        rmc("123519").replace(b"48", b"49"),  # checksum
        b"$GPRMC,123519,A,4807.038,N\r\n",  # cut, no checksum
        b"\xff\xfe\x00garbage\r\n",
        sentence("GPRMC,notatime,A,4807.038,N,01131.000,E,022.4,084.4,230394,,"),
        sentence("GPGGA,123519,4807.038,N,01131.000,E,x,08,0.9,545.4,M,46.9,M,,"),
    ],
)
def test_bad_sentences_are_counted(line):
    fixes, dropped = parse(line, rmc("123519"), gga("123519"))
    assert len(fixes) == 1
    assert dropped == {"bad-sentence": 1}


def test_sentences_of_makers_are_not_bad():
    _, dropped = parse(sentence("PUBX,00,1"), sentence("GPXYZ,1"), b"\r\n")
    assert dropped == {}


def report(**fields):
    return json.dumps(fields).encode() + b"\n"


def test_gpsd_reports():
    drops = Drops("gps")
    parser = GpsdParser(drops)
    assert parser.feed(report(**{"class": "VERSION", "release": "3.22"})) is None
    assert parser.feed(report(**{"class": "SKY", "satellites": [{"used": True}, {}]})) is None
    fix = parser.feed(
        report(
            **{"class": "TPV", "mode": 3, "time": "2026-05-04T03:02:01.500Z", "lat": 1.5,
               "lon": 2, "altMSL": 30.5, "alt": 99, "speed": 1.25, "track": 90}
        )
    )  # fmt: skip
    when = datetime.datetime(2026, 5, 4, 3, 2, 1, 500000, tzinfo=datetime.UTC)
    assert fix == Fix("3d", 1.5, 2.0, 30.5, 1.25, 90, when, 1)
    assert fix.to_dict()["time"] == "2026-05-04T03:02:01.500000+00:00"
    assert parser.feed(report(**{"class": "TPV", "mode": 1})) == Fix(satellites=1)
    assert parser.feed(report(**{"class": "TPV", "mode": 3, "alt": 5})) == Fix(satellites=1)
    fix = parser.feed(report(**{"class": "TPV", "mode": 3, "lat": 1, "lon": 2}))
    assert fix == Fix("2d", 1, 2, satellites=1)
    for bad in (b"{not json\n", b"[]\n", b'{"a": 1}\n', b"\xff\n"):
        assert parser.feed(bad) is None
    assert drops.counts == {"bad-sentence": 4}


async def test_a_missing_line_is_named():
    with pytest.raises(DeviceNotFound, match="there is no serial line /dev/ttyNone"):
        await anext(GPS("/dev/ttyNone"))
