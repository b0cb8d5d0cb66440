"""A real browser."""

from __future__ import annotations

import os

import pytest
from requirements import chromium, require


@pytest.fixture(scope="module")
def browser():
    """Chromium, in which two names lead to this machine, as a hostile name server would do it."""
    require("chromium")
    from playwright.sync_api import sync_playwright

    arguments = ["--host-resolver-rules=MAP evil.example 127.0.0.1, MAP other.example 127.0.0.1"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=arguments)
        yield running
        running.close()


@pytest.fixture
def context(browser):
    """A new user of the browser, whose tabs share six connections to a server."""
    opened = browser.new_context(viewport={"width": 1280, "height": 800})
    opened.set_default_timeout(60_000)
    yield opened
    opened.close()


@pytest.fixture
def messages(context):
    """All that the pages of the context write to the console, and errors that nobody caught."""
    found = []
    context.on("console", lambda message: found.append(message.text))
    context.on("weberror", lambda error: found.append(str(error.error)))
    return found
