"""Names in the configuration that nobody reads: said if somebody should, left alone if they are Glance's."""

from collections.abc import Callable
from pathlib import Path

import pytest

from settings import Settings

SECRET = "hush-hush"


def test_an_unknown_name_of_ours_is_said(
    load: Callable[[str], Settings], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Given misspelt options, when they are read, then those of our section are said with the nearest that there is,
    Glance's own are not.
    """
    monkeypatch.setenv("OS_TRANSHIP__LEASE_TLL", SECRET)
    load(f"[DEFAULT]\nshow_multiple_locations = true\n[tranship]\nlease_ttl = 30\nleese_ttl = {SECRET}\n")
    (ours, environment) = caplog.messages
    assert ours.startswith("[tranship] leese_ttl (")
    assert ours.endswith("): there is no such option; did you mean lease_ttl?")
    assert environment == "OS_TRANSHIP__LEASE_TLL: there is no option lease_tll; did you mean lease_ttl?"


MISSPELT: dict[str, tuple[str, str]] = {
    "ours, like nothing": ("[tranship]\nzzz = 1", "[tranship] zzz (FILE): there is no such option"),
    "our section": ("[transhp]\nlease_ttl = 1", "[transhp] (FILE): there is no such section; did you mean [tranship]?"),
    "a store's section": (
        "[DEFAULT]\nenabled_backends = archive:memory\n[archve]\nweight = 1",
        "[archve] (FILE): there is no such section; did you mean [archive]?",
    ),
    "in a store's section": (
        "[DEFAULT]\nenabled_backends = fast:memory\n[fast]\nwieght = 1",
        "[fast] wieght (FILE): there is no such option; did you mean weight?",
    ),
    "Glance's, not ours": (
        "[DEFAULT]\nenabled_backends = fast:memory\n[fast]\nrbd_store_pool = x",
        "[fast] rbd_store_pool (FILE): there is no such option",
    ),
    "in the section of staging": (
        "[os_glance_staging_store]\nfilesystem_store_datadirs = x",
        "[os_glance_staging_store] filesystem_store_datadirs (FILE): there is no such option; "
        "did you mean filesystem_store_datadir?",
    ),
    "almost right": (
        "[DEFAULT]\nenabled_backend = fast:memory",
        "[DEFAULT] enabled_backend (FILE): there is no such option; did you mean enabled_backends?",
    ),
}


@pytest.mark.parametrize(("text", "said"), MISSPELT.values(), ids=MISSPELT)
def test_what_is_misspelt_is_said(
    load: Callable[[str], Settings], tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, said: str
) -> None:
    """Given a name that nobody reads and somebody should, then there is a warning with the nearest that is read."""
    load(text + "\n")
    assert caplog.messages == [said.replace("FILE", str(tmp_path / "tranship.conf"))]


def test_what_is_glances_is_left_alone(load: Callable[[str], Settings], caplog: pytest.LogCaptureFixture) -> None:
    """Given a glance-api.conf with all that a cloud sets, then nothing is said of it, but for one line to whoever
    debugs.
    """
    caplog.set_level("DEBUG", logger="settings")
    load(
        f"[DEFAULT]\ndebug = true\nlog_file = /var/log/x\ntransport_url = rabbit://u:{SECRET}@h\n"
        f"registry_host = h\n[database]\nconnection = sqlite://\nmax_retries = -1\nslave_connection = {SECRET}\n"
        "[glance_store]\nstores = file,http\n[image_import_opts]\nimage_import_plugins = ['no_op']\n"
        f"[keystone_authtoken]\npassword = {SECRET}\n[oslo_messaging_rabbit]\nssl = true\n[paste_deploy]\n"
        "flavor = keystone\n[task]\ntask_executor = taskflow\n[taskflow_executor]\nmax_workers = 2\n"
    )
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "DEBUG",
            "in the configuration, but not read here: [DEFAULT] debug, log_file, registry_host, transport_url;"
            " [database] max_retries, slave_connection; [glance_store] stores; [image_import_opts];"
            " [oslo_messaging_rabbit]; [paste_deploy]; [task] task_executor; [taskflow_executor]",
        )
    ]
