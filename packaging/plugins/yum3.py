# Drydock's plugin for yum 3. Written and removed by drydock-agent; its settings are in pluginconf.d/drydock.conf. It
# says where updates come from and, in exclusive mode, switches off every configured repository that is not Drydock's.
# Python 2.6 and later. Whatever goes wrong here, yum goes on.
from yum.plugins import TYPE_CORE

requires_api_version = '2.5'
plugin_type = (TYPE_CORE,)

PREFIX = 'drydock-'
BANNER = 'This system is receiving updates from Drydock.'


def prereposetup_hook(conduit):
    try:
        look(conduit)
    except Exception:  # a plugin must never keep yum from working
        conduit.info(4, 'drydock: the plugin failed')


def look(conduit):
    exclusive = conduit.confBool('main', 'exclusive', default=False)
    enabled = list(conduit.getRepos().listEnabled())
    ours = [repo for repo in enabled if repo.id.startswith(PREFIX)]
    if not ours and not exclusive:
        return
    conduit.info(2, BANNER)
    if not exclusive:
        return
    for repo in enabled:
        if not repo.id.startswith(PREFIX) and getattr(repo, 'repofile', None):
            repo.disable()
