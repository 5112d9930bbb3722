"""A project of two environments without a model, for tests of operations."""

from headrace.operations import access
from headrace.operations.operation import At
from headrace.workspace.workspace import open_workspace

TOML = '[project]\nname = "shop"\nmodule = "shop"\n\n[env.dev]\n[env.prod]\n'


class BareProject:
    """Where it is, what its audit record says, and people who hold roles in it."""

    def __init__(self, folder, *, program=""):
        folder.mkdir()
        (folder / "headrace.toml").write_text(TOML)
        (folder / "shop.py").write_text(f"import headrace as hr\n{program}")
        self.folder = folder

    def at(self, env="dev"):
        return At(env=env, folder=self.folder)

    def open(self, env="dev", **how):
        return open_workspace(env, folder=self.folder, **how)

    def audit(self, env="dev"):
        """Action, object and details of each entry, the first one first; without those of the environment's policy."""
        with self.open(env) as workspace:
            entries = reversed(workspace.audit.entries())
            return [(each.action, each.object, each.details) for each in entries if "policy" not in each.action]

    def enrol(self, env="dev", **people):
        """Makes the bootstrap identity, and people by it: name → role. Returns their tokens."""
        from headrace.core import vault

        first = access.bootstrap(self.at(env)).token
        tokens = {"bootstrap": first}
        with vault.bearing(first):
            for name, role in people.items():
                access.grant_role(self.at(env), name, role)
                tokens[name] = access.create_access_token(self.at(env), name).token
        return tokens
