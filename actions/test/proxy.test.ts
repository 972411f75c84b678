import assert from 'node:assert/strict'
import * as http from 'node:http'
import * as net from 'node:net'
import { connect, Tls } from './tls.ts'
import { scenario, assertFailed } from './world.ts'

scenario("A-253: behind a company's proxy, to a server with a certificate of its own authority", async w => {
  const tls = await Tls.start('idp.acme.example', w.idp.port)
  w.finally(() => tls.stop())
  const connected: string[] = []
  const proxy = http.createServer((_, response) => { response.writeHead(405).end() })
  proxy.on('connect', (request, socket: net.Socket) => {
    connected.push(request.url ?? '')
    socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
    connect(socket, net.connect(tls.port, '127.0.0.1'))
  })
  await new Promise<void>(done => proxy.listen(0, '127.0.0.1', done))
  w.finally(() => proxy.close())
  // The server of this test has another URL, and would not take this audience.
  const id = '01993b6e-0000-7000-8000-000000000001'
  const grant = { access_token: 'a'.repeat(40), token_type: 'Bearer', expires_in: 900, expires_at: '2026-11-21T12:15:00Z', agent_id: id, decision_id: id }
  w.idp.interference = { answer: () => ({ status: 200, body: JSON.stringify(grant) }) }
  w.env = { https_proxy: `http://127.0.0.1:${String((proxy.address() as net.AddressInfo).port)}` }
  const inputs = { 'agent-id': id, 'api-url': 'https://idp.acme.example' }

  assertFailed(await w.issueToken(inputs), 'TLS failure')
  w.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
  w.env['NODE_NO_WARNINGS'] = '1'
  assertFailed(await w.issueToken(inputs), 'TLS failure')
  delete w.env['NODE_TLS_REJECT_UNAUTHORIZED']
  w.env['NODE_EXTRA_CA_CERTS'] = tls.authority
  const step = await w.issueToken(inputs)

  assert.equal(step.code, 0)

  // An address of this machine that is not loopback by its name, and so behind the proxy but for no_proxy.
  const direct = `https://0.0.0.0:${String(tls.port)}`
  w.snapshot.call(direct, '«api-url beside the proxy»')
  w.env['no_proxy'] = 'other.acme.example,0.0.0.0'
  const beside = await w.issueToken({ ...inputs, 'api-url': direct })
  assertFailed(beside, 'TLS failure')
  assert.match(beside.stdout, /ERR_TLS_CERT_ALTNAME_INVALID/, 'it did not reach the server, whose certificate names another host')

  assert.deepEqual(connected, Array.from({ length: 3 }, () => 'idp.acme.example:443'), 'only the server is behind the proxy')
})
