"""`model rollback` twice does not bring the bad version back."""


def test_a_rollback_needs_a_right(world):
    world.refused("model", "rollback", "late", "--reason", "x", "--env", "prod", by="guest")
    assert world.stages()[1] == "Production"


def test_a_rollback_is_no_way_for_a_version_that_never_served(world):
    world.refused("model", "rollback", "late", "--to", "2", "--reason", "x", "--env", "prod", by="eng")
    assert world.stages()[2] == "None"
