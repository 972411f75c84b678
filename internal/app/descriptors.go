package app

// ownDescriptors is how many the server needs beside those of its clients: for its
// database, its log, its listeners, those who watch, and what it asks of issuers.
const ownDescriptors = 40 + watchers

// connections returns how many connections of clients may be open: as many as are set, and
// no more than the process may have. With none left a server accepts nobody and cannot open
// its database either, so that whoever has come waits as well.
func (a *App) connections() int {
	most := a.cfg.MaxConnections
	all, known := descriptors()
	if !known {
		return most
	}
	room := max(int(min(all, 1<<30))-ownDescriptors, 1)
	if most > 0 && most <= room {
		return most
	}
	if most > 0 {
		a.logger.Warn("fewer connections are accepted than AGENTIDP_MAX_CONNECTIONS says: the process may not have as many files open (ulimit -n; LimitNOFILE of systemd)",
			"connections", room, "files", all, "max_connections", most)
	}
	return room
}
