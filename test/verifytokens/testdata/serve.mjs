import { createServer } from 'node:http'
import { authorize } from './page.mjs'

// Serves GET / to whom the page's authorize lets through, and prints its URL.
const server = createServer(async (req, res) => {
  const { status, challenge, claims } = await authorize(req.headers.authorization, 'deploy:staging')
  if (challenge) res.setHeader('WWW-Authenticate', challenge)
  res.writeHead(status)
  res.end(claims && JSON.stringify({ sub: claims.sub, repository: claims.workload.repository }))
})
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`))
