"""People of a project under test: a second one is enrolled by the bootstrap identity, so that they may approve."""


def enrol(headrace, folder, people, *, env=None, variables=None, simulated=False):
    """Makes the bootstrap identity of an environment, and a token by it for each name with its role, or roles.

    Gives the tokens, by name; that of `bootstrap`, too. To be called before anybody was granted anything.
    """
    where = ("--env", env) if env else ()

    def shown(*arguments, by=None):
        bearer = {"HEADRACE_TOKEN": by} if by else {}
        done = headrace.run(folder, "access", *arguments, *where, env={**(variables or {}), **bearer})
        assert done.code == 0, done.stderr
        return done.stdout.strip()

    tokens = {"bootstrap": shown("bootstrap", *(["--simulated"] if simulated else []))}
    for name, roles in people.items():
        for role in [roles] if isinstance(roles, str) else roles:
            shown("grant", name, role, by=tokens["bootstrap"])
        tokens[name] = shown("token", name, by=tokens["bootstrap"])
    return tokens
