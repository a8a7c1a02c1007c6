// token.js - a token that comes with the address.
//
// It is in the fragment (#token=... or #/route?token=...), which browsers send to nobody, and is taken
// out at once, so that it is in no history and no screenshot. dialogs.js asks for one otherwise.
import { setToken } from './api.js';

export function takeTokenFromAddress() {
  const [route, parameters = ''] = location.hash.slice(1).split(/\?(.*)/s);
  const bare = new URLSearchParams(route.startsWith('token=') ? route : '');
  const query = new URLSearchParams(parameters);
  const token = bare.get('token') ?? query.get('token');
  if (token === null) return;
  query.delete('token');
  const rest = bare.has('token') ? '/' : route;
  history.replaceState(null, '', `${location.pathname}${location.search}#${rest}${query.size > 0 ? `?${query}` : ''}`);
  setToken(token, false);
}
