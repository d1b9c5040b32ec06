// Vulkan layer that lets Chromium use lavapipe for WebGPU. Chromium takes only adapters that can share images with it
// (SwiftShader excepted), which needs VK_KHR_external_semaphore_fd; lavapipe has that only where the kernel provides
// /dev/udmabuf. The layer reports the extension and removes it when a device is made. WebGPU's compute never uses it.
// Where the driver has the extension, the layer changes nothing.
//
// The declarations below are the part of Vulkan's stable binary interface that is used here, so that a C compiler is
// all it takes. Source: Vulkan specification, and "Layer Interface to the Loader" of the Vulkan loader.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXTENSION "VK_KHR_external_semaphore_fd"
#define EXPORTED __attribute__((visibility("default")))

enum { VK_SUCCESS = 0, VK_INCOMPLETE = 5, VK_ERROR_INITIALIZATION_FAILED = -3 };
enum { VK_ERROR_TOO_MANY_OBJECTS = -10, VK_ERROR_INVALID_EXTERNAL_HANDLE = -1000072003 };
/** VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO and its counterpart for devices. */
enum { LOADER_INSTANCE_CREATE_INFO = 47, LOADER_DEVICE_CREATE_INFO = 48 };
/** VK_LAYER_LINK_INFO. */
enum { LAYER_LINK_INFO = 0 };

typedef void (*Function)(void);
typedef Function (*GetProcAddr)(void *object, const char *name);

typedef struct Link {
  struct Link *next;
  GetProcAddr get_instance_proc;
  /** Of instances: vk_layerGetPhysicalDeviceProcAddr. Of devices: vkGetDeviceProcAddr. */
  GetProcAddr get_other_proc;
} Link;

/** VkLayerInstanceCreateInfo and VkLayerDeviceCreateInfo; other structures of a chain share the first two members. */
typedef struct LayerInfo {
  int32_t type;
  struct LayerInfo *next;
  int32_t function;
  Link *link;
} LayerInfo;

typedef struct {
  int32_t type;
  LayerInfo *next;
} InstanceInfo;

typedef struct {
  int32_t type;
  LayerInfo *next;
  uint32_t flags;
  uint32_t queue_count;
  const void *queues;
  uint32_t layer_count;
  const char *const *layers;
  uint32_t extension_count;
  const char *const *extensions;
  const void *features;
} DeviceInfo;

typedef struct {
  char name[256];
  uint32_t version;
} Extension;

typedef struct {
  int32_t type;
  const void *next;
  uint32_t handle_type;
} SemaphoreInfo;

typedef struct {
  int32_t type;
  void *next;
  uint32_t export_from_imported;
  uint32_t compatible;
  uint32_t features;
} SemaphoreProperties;

typedef struct {
  int32_t type;
  void *next;
  uint32_t version;
  GetProcAddr get_instance_proc;
  GetProcAddr get_device_proc;
  GetProcAddr get_physical_device_proc;
} Negotiation;

typedef int32_t (*CreateInstance)(const InstanceInfo *, const void *, void **);
typedef int32_t (*CreateDevice)(void *, const DeviceInfo *, const void *, void **);
typedef int32_t (*EnumerateExtensions)(void *, const char *, uint32_t *, Extension *);

static GetProcAddr next_instance_proc;
static GetProcAddr next_device_proc;
static EnumerateExtensions next_enumerate;
static CreateDevice next_create_device;
/** Whether the driver itself has the extension. */
static int is_native;

/** Returns this layer's link of a chain, and moves the chain on to the next layer. */
static Link *take_link(LayerInfo *info, int32_t type) {
  while (info != NULL && !(info->type == type && info->function == LAYER_LINK_INFO)) info = info->next;
  if (info == NULL) return NULL;
  Link *link = info->link;
  info->link = link->next;
  return link;
}

static int32_t create_instance(const InstanceInfo *info, const void *allocator, void **instance) {
  Link *link = take_link(info->next, LOADER_INSTANCE_CREATE_INFO);
  if (link == NULL) return VK_ERROR_INITIALIZATION_FAILED;
  next_instance_proc = link->get_instance_proc;
  CreateInstance create = (CreateInstance)next_instance_proc(NULL, "vkCreateInstance");
  if (create == NULL) return VK_ERROR_INITIALIZATION_FAILED;
  int32_t result = create(info, allocator, instance);
  if (result != VK_SUCCESS) return result;
  next_enumerate = (EnumerateExtensions)next_instance_proc(*instance, "vkEnumerateDeviceExtensionProperties");
  next_create_device = (CreateDevice)next_instance_proc(*instance, "vkCreateDevice");
  return next_enumerate == NULL || next_create_device == NULL ? VK_ERROR_INITIALIZATION_FAILED : VK_SUCCESS;
}

/** Lists the driver's extensions with one more. */
static int32_t enumerate_extensions(void *device, const char *layer, uint32_t *count, Extension *out) {
  if (layer != NULL) {
    *count = 0;
    return VK_SUCCESS;
  }
  uint32_t total = 0;
  int32_t result = next_enumerate(device, NULL, &total, NULL);
  if (result != VK_SUCCESS) return result;
  Extension *all = calloc(total + 1, sizeof *all);
  if (all == NULL) return VK_ERROR_INITIALIZATION_FAILED;
  result = next_enumerate(device, NULL, &total, all);
  if (result != VK_SUCCESS) {
    free(all);
    return result;
  }
  is_native = 0;
  for (uint32_t i = 0; i < total; i++)
    if (strcmp(all[i].name, EXTENSION) == 0) is_native = 1;
  if (!is_native) {
    strcpy(all[total].name, EXTENSION);
    all[total].version = 1;
    total++;
  }
  if (out == NULL) {
    *count = total;
  } else {
    if (*count > total) *count = total;
    memcpy(out, all, *count * sizeof *all);
    if (*count < total) result = VK_INCOMPLETE;
  }
  free(all);
  return result;
}

/** Makes a device without the extension, which the driver does not know. */
static int32_t create_device(void *physical, const DeviceInfo *info, const void *allocator, void **device) {
  Link *link = take_link(info->next, LOADER_DEVICE_CREATE_INFO);
  if (link == NULL) return VK_ERROR_INITIALIZATION_FAILED;
  next_device_proc = link->get_other_proc;
  const char **kept = calloc(info->extension_count + 1, sizeof *kept);
  if (kept == NULL) return VK_ERROR_INITIALIZATION_FAILED;
  DeviceInfo changed = *info;
  changed.extension_count = 0;
  changed.extensions = kept;
  for (uint32_t i = 0; i < info->extension_count; i++)
    if (is_native || strcmp(info->extensions[i], EXTENSION) != 0) kept[changed.extension_count++] = info->extensions[i];
  int32_t result = next_create_device(physical, &changed, allocator, device);
  free(kept);
  return result;
}

/** Reports semaphores as shareable, in the way that was asked about. */
static void semaphore_properties(void *device, const SemaphoreInfo *info, SemaphoreProperties *out) {
  (void)device;
  out->export_from_imported = info->handle_type;
  out->compatible = info->handle_type;
  out->features = 3; // exportable and importable
}

static int32_t import_semaphore(void *device, const void *info) {
  (void)device, (void)info;
  return VK_ERROR_INVALID_EXTERNAL_HANDLE;
}

static int32_t export_semaphore(void *device, const void *info, int *fd) {
  (void)device, (void)info, (void)fd;
  return VK_ERROR_TOO_MANY_OBJECTS;
}

/** Returns this layer's own function for a name of semaphores; null where the driver's is to be used. */
static Function semaphore_function(const char *name) {
  if (is_native) return NULL;
  if (strcmp(name, "vkImportSemaphoreFdKHR") == 0) return (Function)import_semaphore;
  if (strcmp(name, "vkGetSemaphoreFdKHR") == 0) return (Function)export_semaphore;
  if (strcmp(name, "vkGetPhysicalDeviceExternalSemaphoreProperties") == 0) return (Function)semaphore_properties;
  if (strcmp(name, "vkGetPhysicalDeviceExternalSemaphorePropertiesKHR") == 0) return (Function)semaphore_properties;
  return NULL;
}

EXPORTED Function selvedge_get_device_proc(void *device, const char *name) {
  if (strcmp(name, "vkGetDeviceProcAddr") == 0) return (Function)selvedge_get_device_proc;
  Function own = semaphore_function(name);
  if (own != NULL) return own;
  return next_device_proc == NULL ? NULL : next_device_proc(device, name);
}

EXPORTED Function selvedge_get_instance_proc(void *instance, const char *name) {
  if (strcmp(name, "vkGetInstanceProcAddr") == 0) return (Function)selvedge_get_instance_proc;
  if (strcmp(name, "vkGetDeviceProcAddr") == 0) return (Function)selvedge_get_device_proc;
  if (strcmp(name, "vkCreateInstance") == 0) return (Function)create_instance;
  if (strcmp(name, "vkCreateDevice") == 0) return (Function)create_device;
  if (strcmp(name, "vkEnumerateDeviceExtensionProperties") == 0) return (Function)enumerate_extensions;
  Function own = semaphore_function(name);
  if (own != NULL) return own;
  return next_instance_proc == NULL ? NULL : next_instance_proc(instance, name);
}

EXPORTED int32_t vkNegotiateLoaderLayerInterfaceVersion(Negotiation *asked) {
  if (asked->version > 2) asked->version = 2;
  asked->get_instance_proc = selvedge_get_instance_proc;
  asked->get_device_proc = selvedge_get_device_proc;
  asked->get_physical_device_proc = NULL;
  return VK_SUCCESS;
}
