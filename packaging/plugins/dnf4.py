# Drydock's plugin for dnf 4. Written and removed by drydock-agent; its settings are in plugins/drydock.conf of dnf's
# configuration. It says where updates come from and, in exclusive mode, switches off every configured repository that
# is not Drydock's: also one that a package's update has just put back. Repositories of the command line
# (--repofrompath) stay. Python 3.6 and later. Whatever goes wrong here, dnf goes on.
from __future__ import absolute_import
from __future__ import unicode_literals

import logging

import dnf

PREFIX = 'drydock-'
BANNER = 'This system is receiving updates from Drydock.'

logger = logging.getLogger('dnf.plugin')


class Drydock(dnf.Plugin):
    name = 'drydock'

    def config(self):
        try:
            self._look()
        except Exception as e:  # a plugin must never keep dnf from working
            logger.debug('drydock: %s', e)

    def _look(self):
        repos = list(self.base.repos.all())
        ours = [r for r in repos if r.id.startswith(PREFIX) and r.enabled]
        exclusive = self._exclusive()
        if not ours and not exclusive:
            return
        logger.info(BANNER)
        if not exclusive:
            return
        for repo in repos:
            configured = getattr(repo, 'repofile', None)
            if configured and repo.enabled and not repo.id.startswith(PREFIX):
                repo.disable()
                logger.debug('drydock: %s is not one of Drydock\'s and was switched off', repo.id)

    def _exclusive(self):
        settings = self.read_config(self.base.conf)
        try:
            return settings.getboolean('main', 'exclusive')
        except Exception:
            return False
