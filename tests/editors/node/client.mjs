// A client on vscode-languageserver-protocol: a person's minutes, as JSON on standard output.
//   node client.mjs FILE -- COMMAND [ARGUMENT...]
// FILE is a Python file with `def rgb_to_yiq(`; COMMAND starts the server.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  ApplyWorkspaceEditRequest, CancellationTokenSource, CodeActionRequest, CodeActionResolveRequest,
  ConfigurationRequest, DidChangeTextDocumentNotification, DidOpenTextDocumentNotification,
  DocumentDiagnosticRequest, ExecuteCommandRequest, ExitNotification, HoverRequest, InitializeRequest,
  InitializedNotification, LogMessageNotification, RegistrationRequest, ShutdownRequest,
  StreamMessageReader, StreamMessageWriter, TextDocumentContentRequest, createProtocolConnection,
} from 'vscode-languageserver-protocol/node';

const [file, , command, ...options] = process.argv.slice(2);
const uri = pathToFileURL(file).href;
const root = pathToFileURL(dirname(file)).href;
const text = readFileSync(file, 'utf8');
const seen = { log: [], methods: [] };

const server = spawn(command, options, { stdio: ['pipe', 'pipe', 'inherit'] });
const left = new Promise((resolve) => server.once('exit', (code) => resolve(code)));
const connection = createProtocolConnection(
  new StreamMessageReader(server.stdout), new StreamMessageWriter(server.stdin),
);
const settings = { hover: { budget: 60000, minimumConfidence: 0 }, pause: { memory: 0, onBattery: false } };
connection.onRequest(ConfigurationRequest.type, ({ items }) =>
  items.map(({ section }) => (section === 'codeprompt' ? settings : null)));
connection.onRequest(RegistrationRequest.type, ({ registrations }) => {
  seen.methods.push(...registrations.map(({ method }) => method));
});
connection.onRequest(ApplyWorkspaceEditRequest.type, ({ edit }) => {
  seen.applied = edit;
  return { applied: true };
});
connection.onNotification(LogMessageNotification.type, ({ message }) => seen.log.push(message));
const ready = new Promise((resolve) => {
  connection.onNotification('codeprompt/status', (status) => {
    seen.status = status;
    if (status.state === 'ready') resolve();
  });
});
connection.listen();

const capabilities = {
  general: { positionEncodings: ['utf-16'] },
  textDocument: {
    hover: { contentFormat: ['markdown'] },
    diagnostic: {},
    codeAction: {
      codeActionLiteralSupport: { codeActionKind: { valueSet: ['refactor.rewrite', 'quickfix', 'source'] } },
      dataSupport: true,
      resolveSupport: { properties: ['edit'] },
    },
  },
  workspace: {
    applyEdit: true,
    configuration: true,
    didChangeConfiguration: { dynamicRegistration: true },
    didChangeWatchedFiles: { dynamicRegistration: true },
    textDocumentContent: {},
    workspaceEdit: { documentChanges: true, changeAnnotationSupport: {} },
    workspaceFolders: true,
  },
};

const document = { uri };
const line = text.split('\n').findIndex((one) => one.startsWith('def rgb_to_yiq('));
const position = { line, character: 6 };

// Error codes are part of what a client relies on.
async function codeOf(promise) {
  try {
    await promise;
    return 0;
  } catch (error) {
    return error.code;
  }
}

async function visit() {
  seen.early = await codeOf(connection.sendRequest(HoverRequest.type, { textDocument: document, position }));
  const { capabilities: told, serverInfo } = await connection.sendRequest(InitializeRequest.type, {
    processId: process.pid, rootUri: root, workspaceFolders: [{ uri: root, name: 'project' }], capabilities,
  });
  Object.assign(seen, { told, serverInfo });
  await connection.sendNotification(InitializedNotification.type, {});
  await connection.sendNotification(DidOpenTextDocumentNotification.type, {
    textDocument: { uri, languageId: 'python', version: 1, text },
  });
  await ready;

  seen.hover = await connection.sendRequest(HoverRequest.type, { textDocument: document, position });

  const range = { start: position, end: position };
  const actions = await connection.sendRequest(CodeActionRequest.type, {
    textDocument: document, range, context: { diagnostics: [] },
  });
  seen.actions = actions.map(({ title, kind, edit, command: run }) => ({ title, kind, edit, command: run }));
  const write = actions.find(({ title }) => title.startsWith('Write the documentation'));
  seen.resolved = (await connection.sendRequest(CodeActionResolveRequest.type, write)).edit;

  seen.diagnostics = await connection.sendRequest(DocumentDiagnosticRequest.type, { textDocument: document });
  const again = await connection.sendRequest(DocumentDiagnosticRequest.type, {
    textDocument: document, previousResultId: seen.diagnostics.resultId,
  });
  seen.again = again.kind;

  const shown = await connection.sendRequest(ExecuteCommandRequest.type, {
    command: 'codeprompt.translate', arguments: [{ uri, position, target: 'java' }],
  });
  seen.translation = (await connection.sendRequest(TextDocumentContentRequest.type, { uri: shown.uri })).text;

  await connection.sendRequest(ExecuteCommandRequest.type, {
    command: 'codeprompt.document', arguments: [{ uri, position }],
  });

  // A hover of a text that nobody has asked about, taken back at once.
  await connection.sendNotification(DidChangeTextDocumentNotification.type, {
    textDocument: { uri, version: 2 },
    contentChanges: [{ range: { start: { line: line + 1, character: 0 }, end: { line: line + 1, character: 0 } },
      text: '    # another text\n' }],
  });
  const source = new CancellationTokenSource();
  const asked = connection.sendRequest(HoverRequest.type, { textDocument: document, position }, source.token);
  source.cancel();
  seen.cancelled = await codeOf(asked);
  seen.afterwards = await connection.sendRequest(HoverRequest.type, { textDocument: document, position });
  seen.outdated = await codeOf(connection.sendRequest(CodeActionResolveRequest.type,
    { ...write, data: { ...write.data, function: 'gone' } }));

  seen.shutdown = await connection.sendRequest(ShutdownRequest.type);
  seen.late = await codeOf(connection.sendRequest(HoverRequest.type, { textDocument: document, position }));
  await connection.sendNotification(ExitNotification.type);
  seen.exit = await left;
}

const limit = setTimeout(() => {
  console.log(JSON.stringify({ ...seen, failure: 'It took too long' }));
  server.kill();
  process.exit(1);
}, 1000 * Number(process.env.CODEPROMPT_SECONDS ?? 120));
try {
  await visit();
} catch (error) {
  seen.failure = String(error.stack ?? error);
  server.kill();
}
clearTimeout(limit);
console.log(JSON.stringify(seen));
process.exit(seen.failure ? 1 : 0);
