/* list.h - an intrusive doubly linked ring. The head is a node of its own; an element that is in
 * no list points to itself, so removing it twice is harmless. */
#ifndef SBX_BASE_LIST_H
#define SBX_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct sbx_list {
    struct sbx_list *prev, *next;
};

#define SBX_LIST_OF(node, type, member) ((type *)(void *)((char *)(node) - offsetof(type, member)))

static inline void sbx_list_init(struct sbx_list *n)
{
    n->prev = n->next = n;
}
static inline bool sbx_list_empty(const struct sbx_list *n)
{
    return n->next == n;
}
static inline void sbx_list_add_tail(struct sbx_list *head, struct sbx_list *n)
{
    n->prev = head->prev;
    n->next = head;
    head->prev->next = n;
    head->prev = n;
}
static inline void sbx_list_remove(struct sbx_list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    sbx_list_init(n);
}

#endif
