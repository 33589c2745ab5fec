from tests.messages_server.fixture import messages_server, start_messages_server  # noqa: F401
