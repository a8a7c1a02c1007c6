// first_steps.js - what a server without processes shows. Loaded for it alone.
import { apiUrl, hasToken } from './api.js';
import { h } from './dom.js';
import { joinWords } from './shell_words.js';

export async function firstSteps() {
  const { curlOf } = await import('./curl.js');
  const words = ['sh', '-c', 'date; sleep 1'];
  const request = curlOf('POST', apiUrl('processes'), { command: words[0], args: words.slice(1) }, hasToken());
  return [
    h('h1', null, 'No processes yet'),
    h(
      'p',
      null,
      'Start one with ',
      h('a', { href: '#/new' }, 'New'),
      ' or the key ',
      h('kbd', null, 'n'),
      ', for example ',
      h('code', null, joinWords(words)),
      ', or from outside:',
    ),
    h('pre', { tabindex: '0', role: 'region', 'aria-label': 'Example' }, request),
  ];
}
