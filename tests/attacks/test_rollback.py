"""A rollback takes a right, and twice does not bring the bad version back."""

PROD = ("--env", "prod")


def test_a_rollback_needs_a_right(world):
    world.refused("model", "rollback", "late", "--reason", "x", *PROD, by="guest")
    assert world.stages()[1] == "Production"


def test_a_rollback_is_no_way_for_a_version_that_never_served(world):
    world.refused("model", "rollback", "late", "--to", "2", "--reason", "x", *PROD, by="eng")
    assert world.stages()[2] == "None"


def test_a_second_rollback_does_not_bring_the_bad_version_back(world):
    world.ok("run", "deploy", "--version", "2", *PROD, by="eng", code=3)
    request = world.ok("request", "list", *PROD, "--json").json()[0]["request"]
    world.ok("request", "approve", request, *PROD, by="gov")
    assert world.stages() == {1: "Archived", 2: "Production"}
    world.ok("model", "rollback", "late", "--reason", "2 is bad", *PROD, by="eng")
    refused = world.refused("model", "rollback", "late", "--reason", "again, in panic", *PROD, by="eng")
    assert "--to 2" in refused.stderr
    assert world.stages() == {1: "Production", 2: "Archived"}
    world.ok("model", "rollback", "late", "--to", "2", "--reason", "it was the data", *PROD, by="eng")
    assert world.stages() == {1: "Archived", 2: "Production"}
