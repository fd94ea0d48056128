// OHIF's configuration: this archive, and nothing else. The server writes window.dicomulus before.
(() => {
  const { dicomweb, routerBasename, asksForToken, signIn } = window.dicomulus;
  const service = new URL(dicomweb, location.href).href;
  const config = {
    routerBasename,
    extensions: [],
    modes: [],
    showStudyList: true,
    maxNumberOfWebWorkers: 3,
    showLoadingIndicator: true,
    showWarningMessageForCrossOrigin: false,
    strictZSpacingForVolumeViewport: true,
    maxNumRequests: { interaction: 100, thumbnail: 5, prefetch: 10 },
    defaultDataSourceName: "dicomulus",
    dataSources: [
      {
        namespace: "@ohif/extension-default.dataSourcesModule.dicomweb",
        sourceName: "dicomulus",
        configuration: {
          friendlyName: "Dicomulus",
          name: "dicomulus",
          qidoRoot: service,
          wadoRoot: service,
          qidoSupportsIncludeField: true,
          supportsFuzzyMatching: true,
          supportsWildcard: true,
          imageRendering: "wadors",
          thumbnailRendering: "wadors",
          omitQuotationForMultipartRequest: true,
          bulkDataURI: { enabled: true },
        },
      },
    ],
  };

  // The token that our own page was given, in the same tab.
  const token = () => sessionStorage.getItem("dicomulus.token");
  if (!token()) {
    window.config = config;
    // OHIF could only say that it is refused. Our own page asks, and comes back.
    const here = location.pathname.slice(routerBasename.length) + location.search;
    if (asksForToken) location.replace(`${routerBasename.replace(/viewer$/, "")}#/viewer?${encodeURIComponent(here)}`);
    return;
  }
  if (signIn) {
    const own = new URL(`${routerBasename.replace(/viewer$/, "")}pages/sign-in.js`, location.href).href;
    import(own).then(({ stayFresh }) => stayFresh(signIn));
  }
  window.config = ({ servicesManager }) => {
    // OHIF asks for its configuration before there are services.
    const register = servicesManager.registerServices.bind(servicesManager);
    servicesManager.registerServices = (...given) => {
      const registered = register(...given);
      servicesManager.services.userAuthenticationService?.setServiceImplementation({
        getAuthorizationHeader: () => ({ Authorization: `Bearer ${token()}` }),
      });
      return registered;
    };
    return config;
  };
  // Parts of OHIF read these from the configuration itself, whichever kind it is.
  window.config.routerBasename = routerBasename;
  window.config.dataSources = config.dataSources;
})();
